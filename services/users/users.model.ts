import { DataTypes, type ModelAttributes, type ModelOptions } from "sequelize";

/** The Sequelize model of `users.users`. Tables are made by migrations only, never from this. */
export const userModel: { name: string; define: ModelAttributes; options: ModelOptions } = {
  name: "User",
  define: {
    id: { type: DataTypes.UUID, primaryKey: true },
    email: DataTypes.TEXT,
    firstName: DataTypes.TEXT,
    lastName: DataTypes.TEXT,
    nickname: DataTypes.TEXT,
    country: DataTypes.TEXT,
    bio: DataTypes.TEXT,
    imageUrls: DataTypes.ARRAY(DataTypes.TEXT),
    avatarUrl: DataTypes.TEXT,
    role: DataTypes.TEXT,
    status: DataTypes.TEXT,
    version: DataTypes.INTEGER,
    createdAt: DataTypes.DATE(3),
    updatedAt: DataTypes.DATE(3),
    deletedAt: DataTypes.DATE(3),
  },
  options: { schema: "users", tableName: "users", underscored: true, timestamps: false },
};
